const http = require("node:http");

http
  .createServer((request, response) => response.end("hello from a build\n"))
  .listen(process.env.PORT, "0.0.0.0");
