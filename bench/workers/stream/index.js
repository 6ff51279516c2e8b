// 64 MiB in chunks of 64 KiB, made as they are asked for.
const CHUNK = new Uint8Array(65_536).fill(46);
const CHUNKS = 1024;

export default {
  async fetch(request, env, ctx) {
    let sent = 0;
    const body = new ReadableStream({
      pull(controller) {
        controller.enqueue(CHUNK);
        sent += 1;
        if (sent === CHUNKS) {
          controller.close();
        }
      },
    });
    return new Response(body, { headers: { "content-type": "application/octet-stream" } });
  },
};
