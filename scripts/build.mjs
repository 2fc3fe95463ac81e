// Builds the release into dist/: the launcher `openshell.mjs`, and the program in chunks, so that a
// command loads no code of the others.
import { chmodSync, copyFileSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { build } from 'esbuild'

const root = path.dirname(import.meta.dirname)
const dist = path.join(root, 'dist')
const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))

/**
 * Importing `node:process` as a module reads every property of `process`, its three streams
 * included, which takes 4 ms of the 40 that `--version` has; the global is the same object.
 */
const globalProcess = {
  name: 'global-process',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:process$/ }, () => ({ path: 'process', namespace: 'global' }))
    onLoad({ filter: /^process$/, namespace: 'global' }, () => ({
      contents: 'export default globalThis.process',
    }))
  },
}

rmSync(dist, { recursive: true, force: true })
await build({
  absWorkingDir: root,
  entryPoints: { main: 'src/cli/main.ts' },
  outdir: dist,
  outExtension: { '.js': '.mjs' },
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  // Names stay, so that a stack trace can be read.
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'linked',
  plugins: [globalProcess],
  // The native PostgreSQL driver is optional and never installed.
  external: ['pg-native'],
  define: { OPENSHELL_VERSION: JSON.stringify(version), 'import.meta.main': 'false' },
  // What is CommonJS among the dependencies calls `require` for Node's own modules.
  banner: {
    js: "import { createRequire as createRequire_ } from 'node:module'; const require = createRequire_(import.meta.url);",
  },
  logLevel: 'warning',
})
const launcher = path.join(dist, 'openshell.mjs')
copyFileSync(path.join(root, 'scripts/launcher.mjs'), launcher)
chmodSync(launcher, 0o755)
