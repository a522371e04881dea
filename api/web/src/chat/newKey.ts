// Names that nobody has used before.

import { createIdGenerator } from 'ai';

/** For idempotency keys and messages. `crypto.randomUUID` exists only where the page's origin is secure. */
export const newKey = createIdGenerator({ size: 24 });
