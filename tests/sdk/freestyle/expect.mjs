// What both scenarios share: expectations that say what was there instead.
import assert from "node:assert/strict";

export const { equal, deepEqual, ok } = assert;

export async function rejects(promise, name) {
  try {
    await promise;
  } catch (error) {
    equal(error.name, name, `${error.name}: ${error.message}`);
    return error;
  }
  assert.fail(`${name} was expected`);
}

export async function step(name, work) {
  const began = performance.now();
  const result = await work();
  console.log(`${name}: ${Math.round(performance.now() - began)} ms`);
  return result;
}
