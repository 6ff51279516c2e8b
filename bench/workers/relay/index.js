// Passes on what another server sends: `/?from=<URL>`.
export default {
  async fetch(request, env, ctx) {
    const from = new URL(request.url).searchParams.get("from");
    const upstream = await fetch(from);
    return new Response(upstream.body.pipeThrough(new TransformStream()));
  },
};
