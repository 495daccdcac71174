// @ts-check
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import tseslint from 'typescript-eslint';

const sources = path.join(path.dirname(fileURLToPath(import.meta.url)), 'ts');

/** Imports point down this list only (ARCHITECTURE.md). A name is a folder of ts/ or a file in it. */
const LAYERS = [
  'cli',
  'index',
  'pipelines',
  'engine',
  'models',
  'schedulers',
  'config',
  'hub',
  'tensor',
  'image',
  'native',
  'files',
  'arguments',
  'errors',
  'escape-controls',
];

/** @param {string} file */
const layerOf = (file) => (path.relative(sources, file).split(path.sep)[0] ?? '').replace(/\.ts$/, '');

/** @type {import('eslint').Rule.RuleModule} */
const importsPointDown = {
  meta: { type: 'problem', schema: [] },
  create(context) {
    const from = layerOf(context.filename);
    /** @param {any} node */
    const check = (node) => {
      const target = node.source?.value;
      if (typeof target !== 'string' || !target.startsWith('.')) return;
      const to = layerOf(path.resolve(path.dirname(context.filename), target));
      const message = layerProblem(from, to);
      if (message !== undefined) context.report({ node, message });
    };
    return {
      Program(node) {
        if (!LAYERS.includes(from)) context.report({ node, message: `ts/${from} is no layer; add it to LAYERS` });
      },
      ImportDeclaration: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
      ImportExpression: check,
    };
  },
};

/**
 * @param {string} from
 * @param {string} to
 */
function layerProblem(from, to) {
  if (to === '..' || !LAYERS.includes(to)) return `'${to}' is no layer of ts/`;
  if (LAYERS.indexOf(to) >= LAYERS.indexOf(from)) return undefined;
  return `ts/${from} must not import from ts/${to}: imports point down (${LAYERS.join(' → ')})`;
}

export default tseslint.config(
  { ignores: ['node_modules/', 'build/', 'dist/', 'test/types/', 'test/fixtures/'] },
  {
    files: ['**/*.ts', '**/*.mjs'],
    extends: [tseslint.configs.recommended],
    rules: {
      'max-lines': ['error', { max: 300 }],
      'no-control-regex': 'error',
      eqeqeq: 'error',
      'no-console': 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      'no-warning-comments': ['error', { terms: ['todo', 'fixme', 'xxx'], location: 'anywhere' }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    },
  },
  {
    files: ['ts/**/*.ts', 'test/**/*.ts'],
    languageOptions: { parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          // mocha's own: what it returns is not a promise to wait for
          allowForKnownSafeCalls: ['describe', 'it'],
        },
      ],
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      // CommonJS inside: what is heavy or optional is required where it is needed.
      '@typescript-eslint/no-require-imports': 'off',
    },
  },
  {
    files: ['ts/**/*.ts'],
    plugins: { house: { rules: { 'imports-point-down': importsPointDown } } },
    rules: {
      'house/imports-point-down': 'error',
      'no-restricted-syntax': [
        'error',
        {
          selector: "CallExpression[callee.property.name='replace'] > Literal[raw=/_\\(?\\[a-z/]",
          message: 'snake_case and camelCase are converted in ts/config/keys.ts only',
        },
      ],
    },
  },
  { files: ['test/**/*.ts'], rules: { 'max-lines': ['error', { max: 400 }] } },
  { files: ['ts/config/**/*.ts'], rules: { 'no-restricted-syntax': 'off' } },
);
