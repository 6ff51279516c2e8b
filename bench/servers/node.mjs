// What the Workers of ../workers do, as one writes it for node:http: `node node.mjs <worker>`.
import { createServer } from "node:http";
import { Readable } from "node:stream";

const json = (response, value) => {
  const text = JSON.stringify(value);
  response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
};

const chunk = Buffer.alloc(65_536, 46);
const chunks = function* () {
  for (let sent = 0; sent < 1024; sent += 1) {
    yield chunk;
  }
};

const handlers = {
  hello: (request, response) => json(response, { message: "hi" }),
  stream: (request, response) => {
    response.writeHead(200, { "content-type": "application/octet-stream" });
    Readable.from(chunks(), { objectMode: false }).pipe(response);
  },
  parse: async (request, response) => {
    const parts = [];
    for await (const part of request) {
      parts.push(part);
    }
    json(response, JSON.parse(Buffer.concat(parts).toString()));
  },
};

const server = createServer(handlers[process.argv[2]]);
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
