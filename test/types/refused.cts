// What must not compile in CommonJS either.
import diffusers = require('node-diffusers');

// @ts-expect-error an unknown dtype
diffusers.zeros([1], { dtype: 'double' });
// @ts-expect-error an unknown key
new diffusers.DDIMScheduler({ eta: 1 });
// @ts-expect-error no such export
diffusers.EulerScheduler;
