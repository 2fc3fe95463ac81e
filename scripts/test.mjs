// Runs every test on the Node of node_modules, with node:test's own summary at the end. Arguments
// name test files; without any, all run.
import { spawnSync } from 'node:child_process'
import path from 'node:path'

const root = path.dirname(import.meta.dirname)
const files = process.argv.slice(2)

// A CA bundle and proxies of the machine's are no business of the tests.
const environment = { ...process.env }
for (const name of Object.keys(environment)) {
  if (/^(NODE_EXTRA_CA_CERTS|(https?|all|no)_proxy|OPENSHELL_.*)$/i.test(name))
    delete environment[name]
}
const { status } = spawnSync(
  process.execPath,
  [
    '--test',
    '--test-timeout=240000',
    ...(files.length > 0 ? files : ['src/**/*.test.ts', 'test/**/*.test.ts']),
  ],
  { cwd: root, stdio: 'inherit', env: environment },
)
process.exit(status ?? 1)
