import { once } from 'node:events'
import { rm, writeFile } from 'node:fs/promises'
import { AppError } from '../core/errors.ts'
import { parseListen } from '../core/listen.ts'
import { Secret } from '../core/secret.ts'
import { createLog, realClock, realRandom } from '../system/real.ts'
import { startLab } from './lab.ts'
import type { Lab } from './running-lab.ts'

const BASE_PATH = '/v1/projects/demo-project/locations/us-east1'
const KEY_FILE_MODE = 0o600

/** What `openshell lab start` was asked for. */
export interface LabOptions {
  /** `HOST:PORT`, for example `127.0.0.1:17680`; port 0 takes any free one. */
  readonly listen: string
  readonly tokenLifetimeMs: number
  /** Commands of the fault grammar, obeyed before the first call. */
  readonly faults: readonly string[]
  readonly output: 'text' | 'json'
  /** Where to write the service-account key, readable by its owner alone. Not written by default. */
  readonly keyFile?: string | null
  /** Called when it listens, instead of writing to stdout. */
  readonly onReady?: (ready: LabReady) => void
}

/** What a provider of type `vertex` is configured with to play with the lab. */
interface LabReady {
  readonly baseUrl: string
  readonly serviceAccountKey: Secret
}

/**
 * Runs the pretend vendors until the signal aborts; resolves to the exit code. What to do with them
 * goes to stdout, what happens to stderr.
 *
 * @throws AppError `invalid_usage`, `port_taken`, or `invalid_argument` for an address or a key
 * file that cannot be used.
 */
export async function runLab(options: LabOptions, stop: AbortSignal): Promise<number> {
  const { listen, tokenLifetimeMs, faults, output, keyFile = null } = options
  const log = createLog({
    format: output === 'json' ? 'json' : 'pretty',
    level: output === 'json' ? 'warn' : 'info',
    write: line => process.stderr.write(line),
  })
  const deps = { clock: realClock, random: realRandom, log }
  const lab = await startLab(deps, { listen: parseListen(listen), tokenLifetimeMs })
  try {
    for (const fault of faults) lab.faults.set(fault)
    if (keyFile !== null) await writeKeyFile(keyFile, lab.serviceAccountKey())
    if (options.onReady !== undefined) {
      const serviceAccountKey = new Secret(lab.serviceAccountKey())
      options.onReady({ baseUrl: lab.origin + BASE_PATH, serviceAccountKey })
    } else {
      process.stdout.write(output === 'json' ? jsonLine(lab, keyFile) : welcome(lab, keyFile))
    }
    if (!stop.aborted) await once(stop, 'abort')
  } finally {
    await lab.close()
  }
  return 0
}

/** A file that stands there is replaced, so that no wider permission of its survives. */
async function writeKeyFile(keyFile: string, key: string): Promise<void> {
  try {
    await rm(keyFile, { force: true })
    await writeFile(keyFile, key, { mode: KEY_FILE_MODE, flag: 'wx' })
  } catch (error) {
    throw new AppError('invalid_argument', `Cannot write the key to "${keyFile}"`, { cause: error })
  }
}

function jsonLine(lab: Lab, keyFile: string | null): string {
  const { origin } = lab
  const place = { origin, baseUrl: origin + BASE_PATH, serviceAccountUrl: keyUrl(lab) }
  const line = keyFile === null ? place : { ...place, serviceAccountFile: keyFile }
  return `${JSON.stringify(line)}\n`
}

function welcome(lab: Lab, keyFile: string | null): string {
  const { origin } = lab
  const key = keyFile === null ? `curl -s ${keyUrl(lab)}` : `cat ${quoted(keyFile)}`
  return `Pretend Vertex AI, Azure, Bedrock, watsonx, OpenAI and Anthropic listen on ${origin}

To play Vertex AI, with a gateway that may reach it:

  openshell gateway start --allow-endpoint ${new URL(origin).host}
  openshell provider add --type vertex --name lab-vertex \\
    --credential GOOGLE_SERVICE_ACCOUNT_JSON="$(${key})" \\
    --config VERTEX_BASE_URL=${origin}${BASE_PATH}
  openshell inference set --provider lab-vertex --model claude-3-7-sonnet

OpenAI: ${origin}/openai/v1 · Anthropic: ${origin}/anthropic/v1 · their and the other vendors’ keys: ${origin}/lab/keys
Trouble on demand: openshell lab fault google.token status=503 count=3
`
}

function keyUrl(lab: Lab): string {
  return `${lab.origin}/lab/service-account.json`
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
