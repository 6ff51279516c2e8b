// Reads a document and writes it again.
export default {
  async fetch(request, env, ctx) {
    const document = await request.json();
    return Response.json(document);
  },
};
