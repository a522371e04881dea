// Under the page's policy nothing may be made a function of at run time. Zod (in the AI SDK) would try, and the
// browser would report it.

import { config } from 'zod';

config({ jitless: true });
