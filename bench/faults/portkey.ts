import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../../test/support/programs.ts'
import type { Target } from './load.ts'
import { until } from './scenario.ts'
import type { World } from './world.ts'

const folder = path.join(import.meta.dirname, 'portkey')
const program = path.join(folder, 'node_modules/@portkey-ai/gateway/build/start-server.js')

/** Bare, below its working directory: of a path that begins with `/` or `.` it takes the content. */
const TOKEN_FILE = 'identity-token'

/** Portkey's open gateway before a lab. */
export interface Portkey extends AsyncDisposable {
  readonly target: Target
}

/** Installs what the lock file names, once; false, with a line that says why, when it cannot be had. */
export async function installPortkey(): Promise<boolean> {
  if (existsSync(program)) return true
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  try {
    await promisify(execFile)('npm', ['ci', ...flags], { cwd: folder })
    return true
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split('\n')[1] ?? error.message) : error
    console.log(`Portkey is left out: it cannot be installed in ${folder}: ${reason}`)
    return false
  }
}

/**
 * Starts it as a workload of the lab's pretend Azure. This is the one source of short-lived tokens
 * whose token endpoint it lets an operator choose, by `AZURE_AUTHORITY_HOST`.
 */
export async function startPortkey({ place, vendor }: World): Promise<Portkey> {
  const { azure, origin, identityToken } = vendor.lab
  const { audience, subject } = azure.federation
  const token = identityToken({ audience, subject }).reveal()
  writeFileSync(path.join(place.folder, TOKEN_FILE), token, { mode: 0o600 })
  const port = await freePort()
  const child = spawn(process.execPath, [program, `--port=${port}`, '--headless'], {
    cwd: place.folder,
    stdio: 'ignore',
    env: {
      PATH: place.environment.PATH,
      AZURE_AUTHORITY_HOST: origin,
      AZURE_TENANT_ID: azure.tenantId,
      AZURE_CLIENT_ID: azure.clientId,
      AZURE_FEDERATED_TOKEN_FILE: TOKEN_FILE,
    },
  })
  const baseUrl = `http://127.0.0.1:${port}`
  await until('Portkey', () =>
    fetch(baseUrl).then(
      ({ ok }) => ok,
      () => false,
    ),
  )
  const headers = {
    'x-portkey-provider': 'azure-openai',
    'x-portkey-azure-auth-mode': 'workload',
    'x-portkey-azure-resource-name': 'lab',
    'x-portkey-azure-deployment-id': 'gpt-5.5',
    'x-portkey-azure-api-version': '2024-10-21',
    'x-portkey-custom-host': `${origin}/azure/openai`,
  }
  return {
    target: { baseUrl, dialect: 'openai', headers },
    async [Symbol.asyncDispose]() {
      const closed = once(child, 'close')
      child.kill('SIGKILL')
      await closed
    },
  }
}
