// The runtime's HTTP client module asks for this file by the name of another extension, for client certificates. Workers
// have no such client, so there is nothing to load.

(function () {
  return { loadTlsKeyPair() {} };
})();
