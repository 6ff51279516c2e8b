// Serves a Worker of ../workers with Deno.serve: `deno run deno.js <worker>`.
const { default: worker } = await import(`../workers/${Deno.args[0]}/index.js`);

Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => console.log(JSON.stringify({ port })),
}, (request) => worker.fetch(request));
