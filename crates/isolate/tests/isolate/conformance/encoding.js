// Text encodings and base64.

export const cases = {
  "textencoder": () => [[...new TextEncoder().encode("é€")], new TextDecoder("utf-8").decode(new Uint8Array([0xef, 0xbb, 0xbf, 65])), new TextDecoder("utf-16le").decode(new Uint8Array([65, 0])), new TextDecoder("latin1").encoding, (() => { try { new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array([255])); } catch (e) { return e.name; } })(), new TextEncoder().encodeInto("abc", new Uint8Array(2))],
  "textstreams": async () => { const s = new Blob(["héllo"]).stream().pipeThrough(new TextDecoderStream()).pipeThrough(new TextEncoderStream()); return await new Response(s).text(); },
  "atob": () => [atob("aGk="), btoa("hi"), (() => { try { atob("*"); } catch (e) { return e.name; } })()],
  "labels": () => ["utf8", "latin1", "windows-1252", "utf-16be", "shift_jis", "gbk", "gb18030", "big5", "euc-jp", "euc-kr", "iso-8859-2", "koi8-r", "x-user-defined"].map((label) => { try { return new TextDecoder(label).encoding; } catch (error) { return error.name; } }),
  "label.unknown": () => new TextDecoder("nothing"),
  "fatal": () => new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array([255])),
  "replacement": () => new TextDecoder().decode(new Uint8Array([0x41, 0xe2, 0x82, 0x42])),
  "bom": () => [new TextDecoder().decode(new Uint8Array([239, 187, 191, 65])).length, new TextDecoder("utf-8", { ignoreBOM: true }).decode(new Uint8Array([239, 187, 191, 65])).length],
  "stream": () => { const decoder = new TextDecoder(); return [decoder.decode(new Uint8Array([0xe2, 0x82]), { stream: true }), decoder.decode(new Uint8Array([0xac]), { stream: true }), decoder.decode()]; },
  "shift.jis": () => new TextDecoder("shift_jis").decode(new Uint8Array([0x82, 0xa0])),
  "lone.surrogate": () => new TextEncoder().encode("\ud800"),
  "encode.into": () => { const bytes = new Uint8Array(4); return [new TextEncoder().encodeInto("aé€", bytes), bytes]; },
  "properties": () => { const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }); return [decoder.fatal, decoder.ignoreBOM, new TextEncoder().encoding]; },
  "decoder.stream": async () => { const parts = [new Uint8Array([0xe2]), new Uint8Array([0x82, 0xac])]; const out = []; for await (const text of ReadableStream.from(parts).pipeThrough(new TextDecoderStream())) out.push(text); return out; },
  "decoder.stream.fatal": async () => { for await (const text of ReadableStream.from([new Uint8Array([255])]).pipeThrough(new TextDecoderStream("utf-8", { fatal: true }))); },
  "encoder.stream": async () => { const out = []; for await (const bytes of ReadableStream.from(["a", "\ud83d", "\ude00"]).pipeThrough(new TextEncoderStream())) out.push(bytes); return out; },
  "base64": () => [btoa("\xff\0"), atob(" aGk= "), btoa("")],
  "base64.beyond.latin1": () => btoa("€"),
  "base64.invalid": () => ["a", "a===", "!!!!"].map((text) => { try { return atob(text); } catch (error) { return error.name; } }),
};
