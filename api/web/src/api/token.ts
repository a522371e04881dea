// Who the page speaks for.

const KEPT = 'token';

/** What the API wrote into its page; nothing if tokens are made elsewhere. */
function given(): string {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="development-token"]');
  const token = meta?.content ?? '';
  return token.startsWith('{{') ? '' : token;
}

export const developmentToken = given();

let current = sessionStorage.getItem(KEPT) || developmentToken;
const watchers = new Set<() => void>();

export const token = {
  get: () => current,
  /** An empty one means the development user's, if there is one. */
  set(next: string) {
    current = next.trim() || developmentToken;
    if (next.trim()) sessionStorage.setItem(KEPT, current);
    else sessionStorage.removeItem(KEPT);
    for (const watcher of watchers) watcher();
  },
  watch(watcher: () => void) {
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  },
};

/** The `sub` of a token, for people to see. The API alone decides whether it is true. */
export function subjectOf(jwt: string): string | undefined {
  try {
    const payload = jwt.split('.')[1]?.replaceAll('-', '+').replaceAll('_', '/') ?? '';
    const { sub } = JSON.parse(atob(payload)) as { sub?: unknown };
    return typeof sub === 'string' ? sub : undefined;
  } catch {
    return undefined;
  }
}
