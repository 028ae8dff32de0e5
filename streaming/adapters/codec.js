// What a codec runs in: everything that two calls have in common is frozen or taken away, and its own text runs anew for each call, so that
// no device sees what another one left. Answers a function that makes a codec's text into a function of one call's input, as JSON, to
// ["ok", the answer as JSON, whether nothing stayed behind] or ["error", why, ...].
(function () {
  "use strict";
  const { freeze, getPrototypeOf, getOwnPropertyDescriptor, defineProperty, isExtensible } = Object;
  const { ownKeys, deleteProperty } = Reflect;
  const { parse, stringify } = JSON;
  for (const name of ["eval", "Atomics", "SharedArrayBuffer", "WeakRef", "FinalizationRegistry", "queueMicrotask", "performance"]) {
    delete globalThis[name];
  }
  const seen = new Set([globalThis]);
  const open = [
    function* () {}, async function () {}, async function* () {}, (function* () {})(), (async function* () {})(),
    [][Symbol.iterator](), ""[Symbol.iterator](), new Map()[Symbol.iterator](), new Set()[Symbol.iterator](), "a".matchAll(/a/g),
    Iterator.from({ next() {} }), [].values().map((x) => x),
  ];
  const look = (owner) => {
    for (const key of ownKeys(owner)) {
      const { value, get, set } = getOwnPropertyDescriptor(owner, key);
      open.push(value, get, set);
    }
  };
  look(globalThis);
  while (open.length) {
    const found = open.pop();
    if (Object(found) !== found || seen.has(found)) continue;
    seen.add(found);
    look(found);
    open.push(getPrototypeOf(found));
    if (!ArrayBuffer.isView(found)) freeze(found);
  }
  const own = new Set(ownKeys(globalThis));
  for (const key of own) {
    const about = getOwnPropertyDescriptor(globalThis, key);
    if (about.configurable) defineProperty(globalThis, key, "value" in about ? { writable: false, configurable: false } : { configurable: false });
  }
  const clean = () => {
    let whole = isExtensible(globalThis);
    for (const key of ownKeys(globalThis)) if (!own.has(key)) whole = deleteProperty(globalThis, key) && whole;
    return whole;
  };
  const told = (error) => {
    try {
      return String(error).slice(0, 300);
    } catch (_) {
      return "an error that cannot be shown";
    }
  };
  return function (text) {
    const codec = Function("module", "exports", text + "\n;return typeof decodeUplink === 'function' ? decodeUplink : module.exports.decodeUplink;");
    return function (given) {
      let answer;
      try {
        const input = parse(given);
        input.recvTime = input.recvTime ? new Date(input.recvTime) : new Date();
        const module = { exports: {} };
        const decode = codec(module, module.exports);
        answer = typeof decode === "function" ? ["ok", stringify(decode(input))] : ["error", "it has no function decodeUplink"];
      } catch (error) {
        answer = ["error", told(error)];
      }
      return stringify([...answer, clean()]);
    };
  };
})();
