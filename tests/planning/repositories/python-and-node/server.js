const http = require("node:http");

http
  .createServer((request, response) => response.end("hello from the assets\n"))
  .listen(process.env.PORT, "0.0.0.0");
