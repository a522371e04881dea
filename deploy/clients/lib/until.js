//! Waits for a condition, not for a time.

import { setTimeout as pause } from 'node:timers/promises';

/** Resolves with the first truthy value of `probe`; fails with `what` after `seconds`. */
export async function until(what, probe, seconds = 30) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`);
    await pause(5);
  }
}
