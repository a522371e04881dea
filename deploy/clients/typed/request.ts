//! What every function that Orval makes calls: where the API is, who calls, and how an answer is read.

let origin = '';
let authorization = '';

export function connect(baseUrl: string, token: string): void {
  origin = baseUrl;
  authorization = `Bearer ${token}`;
}

/** `T` is the union of all answers of the operation, told apart by their status. */
export async function request<T>(path: string, init: RequestInit): Promise<T> {
  const response = await open(path, init);
  const data: unknown = response.status === 204 ? undefined : await response.json();
  return { status: response.status, headers: response.headers, data } as T;
}

/** The response itself, whose body is read as it comes. */
export function open(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set('authorization', authorization);
  return fetch(`${origin}${path}`, { ...init, headers });
}
