/**
 * A small JSON API without a framework: the method and the path decide which function answers.
 *
 * The notes live in the memory of one isolate: they are gone when it is. Keep data that matters in a binding.
 */
const notes = new Map();

/** GET /notes */
function listNotes() {
	return Response.json([...notes.values()]);
}

/** POST /notes with { "text": … } */
async function createNote(request) {
	const body = await request.json().catch(() => undefined);
	if (typeof body?.text !== "string" || body.text === "") {
		return problem(400, 'send JSON like { "text": "buy milk" }');
	}
	const note = { id: crypto.randomUUID(), text: body.text };
	notes.set(note.id, note);
	return Response.json(note, { status: 201, headers: { Location: `/notes/${note.id}` } });
}

/** GET and DELETE /notes/:id */
function oneNote(method, id) {
	const note = notes.get(id);
	if (note === undefined) return problem(404, `there is no note ${id}`);
	switch (method) {
		case "GET":
			return Response.json(note);
		case "DELETE":
			notes.delete(id);
			return new Response(null, { status: 204 });
		default:
			return problem(405, `${method} is not allowed here`);
	}
}

function problem(status, message) {
	return Response.json({ error: message }, { status });
}

export default {
	async fetch(request) {
		const { pathname } = new URL(request.url);

		switch (`${request.method} ${pathname}`) {
			case "GET /":
				return new Response("GET /notes, POST /notes, GET /notes/:id, DELETE /notes/:id\n");
			case "GET /notes":
				return listNotes();
			case "POST /notes":
				return createNote(request);
		}

		const id = /^\/notes\/([^/]+)$/.exec(pathname)?.[1];
		if (id !== undefined) return oneNote(request.method, id);

		return problem(404, `nothing is at ${pathname}`);
	},
};
