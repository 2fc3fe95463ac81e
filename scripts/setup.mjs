// Installs what package-lock.json names and builds dist/, when either is missing or older than its
// sources. Runs on Node 20 before anything is installed, so it imports nothing but Node itself.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import path from 'node:path'

const root = path.dirname(import.meta.dirname)

/** The newest change in a file or below a folder, in milliseconds; 0 when it does not exist. */
function newestMs(place) {
  const full = path.join(root, place)
  if (!existsSync(full)) return 0
  const stat = statSync(full)
  if (!stat.isDirectory()) return stat.mtimeMs
  return Math.max(0, ...readdirSync(full).map(name => newestMs(path.join(place, name))))
}

function run(command, ...args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' })
  if (error !== undefined || status !== 0) process.exit(status ?? 1)
}

if (newestMs('node_modules/.package-lock.json') < newestMs('package-lock.json')) {
  run('npm', 'ci', '--no-audit', '--no-fund', '--loglevel=error')
}
if (newestMs('dist/openshell.mjs') < Math.max(newestMs('src'), newestMs('scripts'))) {
  run(path.join(root, 'node_modules/.bin/node'), path.join(root, 'scripts/build.mjs'))
}
