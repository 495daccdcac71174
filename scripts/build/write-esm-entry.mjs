// @ts-check
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { SetupError } from './setup-error.mjs';

const require = createRequire(import.meta.url);

/**
 * Writes dist/index.mjs and its types: every export of dist/index.js by name, so that import and require give the same
 * classes.
 *
 * @param {string} dist
 */
export function writeEsmEntry(dist) {
  // Loading the entry is safe: the compiled addon is loaded on first use only.
  const names = Object.keys(require(path.join(dist, 'index.js')))
    .filter((name) => name !== 'default')
    .sort();
  if (names.length === 0) throw new SetupError(`${dist}/index.js exports nothing`);
  const list = names.map((name) => `  ${name},\n`).join('');
  const text = `import entry from './index.js';\n\nexport const {\n${list}} = entry;\n`;
  writeFileSync(path.join(dist, 'index.mjs'), text);
  writeFileSync(path.join(dist, 'index.d.mts'), "export * from './index.js';\n");
}
