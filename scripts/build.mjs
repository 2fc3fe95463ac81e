// Builds the release into dist/: the launcher `openshell.mjs`, and the program in chunks, so that a
// command loads no code of the others.
import { chmodSync, copyFileSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { build } from 'esbuild'

const root = path.dirname(import.meta.dirname)
const dist = path.join(root, 'dist')
const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))

/**
 * Importing one of Node's own modules reads every property of it. Those of `node:process` open its
 * three streams, which takes 4 ms of the 40 that `--version` has; those of `node:http` load Node's own
 * undici, which takes a tenth of the time of `sandbox run`. What is required is read as it is used.
 */
const requiredModules = {
  name: 'required-modules',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:(process|http)$/ }, ({ path: name, kind }) =>
      kind === 'import-statement' ? { path: name, namespace: 'required' } : { external: true },
    )
    onLoad({ filter: /^/, namespace: 'required' }, ({ path: name }) => ({
      contents: `module.exports = require('${name}')`,
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
  plugins: [requiredModules],
  // The native PostgreSQL driver is optional and never installed; grpc-js loads its proto-loader for
  // channelz and ORCA, which nobody here asks for.
  external: ['pg-native', '@grpc/proto-loader'],
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
