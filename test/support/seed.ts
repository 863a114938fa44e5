// Property tests draw the same examples every time, so that a failure is the change's own. Another seed draws others.

import fc from "fast-check";

fc.configureGlobal({ seed: Number(process.env.LOWRANK_SEED ?? 2014) });
