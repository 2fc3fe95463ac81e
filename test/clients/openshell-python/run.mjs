// Opt-in acceptance, not part of `npm test`: OpenShell's own Python package, of the versions below, against
// a gateway without authentication. Needs python3 with venv, and PyPI at the first run.
// Run `npm run clients -- openshell-python` in the root.
import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { besideLab } from '../beside-lab.mjs'

/** The first and the last on PyPI that have inference methods. */
const VERSIONS = ['0.0.113', '0.0.116']
const run = promisify(execFile)
const root = path.resolve(import.meta.dirname, '../../..')

for (const version of VERSIONS) {
  process.stdout.write(`openshell ${version}\n`)
  const venv = await installed(version)
  const python = path.join(venv, 'bin', 'python')
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
}

/** A virtual environment with the package, made once. */
async function installed(version) {
  const venv = path.join(os.tmpdir(), `openshell-python-${version}`)
  const mark = path.join(venv, 'complete')
  if (existsSync(mark)) return venv
  await run('python3', ['-m', 'venv', venv])
  const packages = [`openshell==${version}`, 'grpcio', 'protobuf']
  await run(path.join(venv, 'bin', 'python'), ['-m', 'pip', 'install', '-q', ...packages])
  await run('touch', [mark])
  return venv
}
