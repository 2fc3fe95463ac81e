// Every measurement of docs/performance.md, one after the other, then the page itself.
// `npm run bench -- all [--quick] [--rounds N]`
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { BENCHES } from './harness/report.ts'

const failed = [...BENCHES, 'report'].filter(name => {
  process.stdout.write(`\n▸ ${name}\n`)
  const words = [path.join(import.meta.dirname, 'run.mjs'), name, ...process.argv.slice(2)]
  return spawnSync(process.execPath, words, { stdio: 'inherit' }).status !== 0
})
if (failed.length > 0) process.stderr.write(`\nnot measured: ${failed.join(', ')}\n`)
process.exitCode = failed.length > 0 ? 1 : 0
