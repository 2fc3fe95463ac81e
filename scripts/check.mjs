// What is run before each commit: generated code, format, lint, types, dead code, then every test.
import { spawnSync } from 'node:child_process'
import path from 'node:path'

const root = path.dirname(import.meta.dirname)

const steps = [
  ['buf', 'lint'],
  ['buf', 'generate'],
  ['git', 'diff', '--exit-code', '--stat', 'src/wire/gen'],
  ['biome', 'check', '--error-on-warnings', '.'],
  ['tsc', '--noEmit'],
  ['knip', '--no-progress'],
  ['node', 'scripts/test.mjs'],
]

for (const [command, ...args] of steps) {
  process.stdout.write(`▸ ${command} ${args.join(' ')}\n`)
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' })
  if (status !== 0) {
    process.stderr.write(`check: "${command} ${args.join(' ')}" failed\n`)
    process.exit(status ?? 1)
  }
}
