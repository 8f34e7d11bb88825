const http = require("node:http");

http
  .createServer((request, response) => response.end("hello from node\n"))
  .listen(process.env.PORT, "0.0.0.0");
