// Serves a Worker of ../workers with Bun.serve: `bun run bun.js <worker>`.
const { default: worker } = await import(`../workers/${Bun.argv[2]}/index.js`);

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch: (request) => worker.fetch(request),
});
console.log(JSON.stringify({ port: server.port }));
