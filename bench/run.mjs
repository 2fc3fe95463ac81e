// `npm run bench -- NAME` runs one measurement; without a name it lists them.
import { spawnSync } from 'node:child_process'
import { existsSync, globSync } from 'node:fs'
import path from 'node:path'

const here = import.meta.dirname
const [name = '', ...args] = process.argv.slice(2)
const file = [`${name}.ts`, `${name}/main.ts`].map(one => path.join(here, one)).find(existsSync)
if (!/^[a-z-]+$/.test(name) || file === undefined) {
  const found = globSync(['*.ts', '*/main.ts'], { cwd: here })
  const names = found.map(one => one.replace(/(\/main)?\.ts$/, ''))
  process.stderr.write(`Measurements: ${names.sort().join(', ')}\n`)
  process.exit(2)
}
const environment = { ...process.env }
for (const one of Object.keys(environment)) {
  if (/^(NODE_EXTRA_CA_CERTS|OPENSHELL_.*)$/.test(one)) delete environment[one]
}
// npm, with which a measurement may fetch what stands beside us, trusts what this machine trusts.
const { NODE_EXTRA_CA_CERTS: authorities } = process.env
if (authorities !== undefined) environment.npm_config_cafile ??= authorities
const { status } = spawnSync(process.execPath, [file, ...args], {
  stdio: 'inherit',
  env: environment,
})
process.exit(status ?? 1)
