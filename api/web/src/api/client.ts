// The API, as its OpenAPI document types it.

import createClient, { type Middleware } from 'openapi-fetch';

import type { components, paths } from '../generated/api';
import { Problem } from './problem';
import { token } from './token';

export type Schemas = components['schemas'];

const signed: Middleware = {
  onRequest({ request }) {
    request.headers.set('authorization', `Bearer ${token.get()}`);
    return request;
  },
};

export const api = createClient<paths>({ baseUrl: location.origin });
api.use(signed);

/** The body of a success; anything else is thrown as a `Problem`. */
export async function answer<Body>(asked: Promise<{ data?: Body; error?: unknown; response: Response }>): Promise<Body> {
  const { data, error, response } = await asked;
  if (!response.ok) throw Problem.of(response, error);
  return data as Body;
}
