// Opt-in acceptance, not part of `npm test`: OpenShell's own Python package, of the version below, against
// a gateway without authentication. Needs python3 with venv, and PyPI at the first run.
// Run `npm run clients -- openshell-python` in the root.
import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { besideLab } from '../beside-lab.mjs'

const VERSION = '0.0.113'
const run = promisify(execFile)
const root = path.resolve(import.meta.dirname, '../../..')
const venv = path.join(os.tmpdir(), `openshell-python-${VERSION}`)
const python = path.join(venv, 'bin', 'python')

if (!existsSync(path.join(venv, 'complete'))) {
  await run('python3', ['-m', 'venv', venv])
  await run(python, ['-m', 'pip', 'install', '-q', `openshell==${VERSION}`, 'grpcio', 'protobuf'])
  await run('touch', [path.join(venv, 'complete')])
}
const image = path.join(venv, 'ours.binpb')
await run(path.join(root, 'node_modules', '.bin', 'buf'), ['build', '-o', image], { cwd: root })

await besideLab({ gatewayOptions: ['--no-auth'] }, async ({ lab, gateway, keyFile }) => {
  const env = {
    PATH: process.env.PATH,
    ...{ GATEWAY: gateway, LAB: lab, KEY_FILE: keyFile, IMAGE: image },
  }
  const script = path.join(import.meta.dirname, 'drive.py')
  const { status } = spawnSync(python, [script], { env, timeout: 120_000, stdio: 'inherit' })
  if (status !== 0) throw new Error(`drive.py ended with ${status}`)
})
