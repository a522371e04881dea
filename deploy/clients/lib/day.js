//! Days as usage windows count them: UTC.

import { setTimeout as pause } from 'node:timers/promises';

const DAY = 86_400_000;

/** Resolves when no midnight comes within so many seconds: at once, but for the last moments of a day. */
export async function sameDayFor(seconds) {
  const left = DAY - (Date.now() % DAY);
  if (left < seconds * 1000) await pause(left);
}
