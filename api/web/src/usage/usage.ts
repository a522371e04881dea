// How much the user has used, and what a fresh day costs.

import { newKey } from '../chat/newKey';
import { answer, api, type Schemas } from '../api/client';

export type UsageStatus = Schemas['CoPilotUsageStatus'];
export type UsageWindow = Schemas['UsageWindow'];
export type Reset = Schemas['RateLimitResetResponse'];

export async function readUsage(): Promise<UsageStatus> {
  return answer(api.GET('/api/chat/usage'));
}

export async function readCredits(): Promise<number> {
  const { credits } = await answer(api.GET('/api/credits'));
  return credits;
}

/** One key for one wish: asked again with the same key, it charges once. */
export const resetKey = () => newKey();

export async function resetUsage(key: string): Promise<Reset> {
  return answer(api.POST('/api/chat/usage/reset', { params: { header: { 'Idempotency-Key': key } } }));
}
