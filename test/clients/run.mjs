// Runs the clients' acceptances: `npm run clients` all of them, `npm run clients -- codex curl` some.
// Each brings its own packages, 1.5 GB in all, which are installed when they are needed.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'

const here = import.meta.dirname
const known = readdirSync(here, { withFileTypes: true })
  .filter(entry => entry.isDirectory() && existsSync(path.join(here, entry.name, 'run.mjs')))
  .map(({ name }) => name)
const wanted = process.argv.length > 2 ? process.argv.slice(2) : known
const strangers = wanted.filter(name => !known.includes(name))
if (strangers.length > 0) {
  process.stderr.write(`No client "${strangers.join(', ')}". There are: ${known.join(', ')}\n`)
  process.exit(2)
}

const failed = wanted.filter(name => {
  const cwd = path.join(here, name)
  process.stdout.write(`\n▸ ${name}\n`)
  if (!isInstalled(cwd)) {
    // A lock file may name builds for other machines that the registry lacks; "npm ci" refuses then.
    const install = ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error']
    const { status } = spawnSync('npm', install, { cwd, stdio: 'inherit' })
    if (status !== 0) return true
  }
  return spawnSync(process.execPath, ['run.mjs'], { cwd, stdio: 'inherit' }).status !== 0
})
process.stdout.write(`\nfailed: ${failed.join(', ') || 'none'}\n`)
process.stdout.write(`${wanted.length - failed.length} passed, ${failed.length} failed\n`)
process.exitCode = failed.length === 0 ? 0 : 1

function isInstalled(folder) {
  return (
    !existsSync(path.join(folder, 'package.json')) || existsSync(path.join(folder, 'node_modules'))
  )
}
