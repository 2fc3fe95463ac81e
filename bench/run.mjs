// `npm run bench -- NAME` runs one measurement; without a name it lists them.
import { spawnSync } from 'node:child_process'
import { existsSync, globSync } from 'node:fs'
import path from 'node:path'

const here = import.meta.dirname
const [name = '', ...args] = process.argv.slice(2)
const file = path.join(here, `${name}.ts`)
if (!/^[a-z-]+$/.test(name) || !existsSync(file)) {
  const names = globSync('*.ts', { cwd: here }).map(one => one.replace(/\.ts$/, ''))
  process.stderr.write(`Measurements: ${names.sort().join(', ')}\n`)
  process.exit(2)
}
const environment = { ...process.env }
for (const one of Object.keys(environment)) {
  if (/^(NODE_EXTRA_CA_CERTS|OPENSHELL_.*)$/.test(one)) delete environment[one]
}
const { status } = spawnSync(process.execPath, [file, ...args], {
  stdio: 'inherit',
  env: environment,
})
process.exit(status ?? 1)
