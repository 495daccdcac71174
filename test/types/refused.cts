// What must not compile in CommonJS either.
import diffusers = require('node-diffusers');

// @ts-expect-error an unknown dtype
diffusers.zeros([1], { dtype: 'double' });
// @ts-expect-error an unknown key
new diffusers.DDIMScheduler({ eta: 1 });
// @ts-expect-error no such export
diffusers.EulerScheduler;
// @ts-expect-error both
new diffusers.DDIMScheduler().setTimesteps({ numInferenceSteps: 2, timesteps: [1, 0] });
// @ts-expect-error random numbers are of a floating dtype
diffusers.randn([1], { dtype: 'int64' });
// @ts-expect-error an async function's tensors outlive the call
void diffusers.tidy(async () => diffusers.zeros([1]));
