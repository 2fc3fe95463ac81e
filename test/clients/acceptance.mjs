// One client's acceptance: a provider of the lab's, the client's program beside a router, and what the
// lab has seen of it.
import { besideLab } from './beside-lab.mjs'

/** So short that a session of a minute sees several tokens. */
const TOKEN_LIFETIME = '8s'
const CONTEXT_BYTES = 2_000_000
const TOKENS_MIN = 3

const PROVIDERS = {
  vertex: async ({ lab, keyFile, openshell }) => {
    const project = 'projects/demo-project/locations/us-east1'
    await openshell(
      ...['provider', 'add', '--type', 'vertex', '--name', 'my-vertex'],
      ...['--credential-file', `GOOGLE_SERVICE_ACCOUNT_JSON=${keyFile}`],
      ...['--config', `VERTEX_BASE_URL=http://${lab}/v1/${project}`],
    )
  },
  azure: async ({ lab, openshell }) => {
    const { azure } = await (await fetch(`http://${lab}/lab/keys`)).json()
    const app = ['AZURE_AUTHORITY_HOST', 'AZURE_TENANT_ID', 'AZURE_CLIENT_ID']
    await openshell(
      ...['provider', 'add', '--type', 'azure-openai', '--name', 'my-azure'],
      ...assigned('--credential', azure, ['AZURE_CLIENT_SECRET']),
      ...assigned('--config', azure, [...app, 'AZURE_OPENAI_ENDPOINT']),
    )
  },
  watsonx: async ({ lab, openshell }) => {
    const { ibm } = await (await fetch(`http://${lab}/lab/keys`)).json()
    await openshell(
      ...['provider', 'add', '--type', 'watsonx', '--name', 'my-watsonx'],
      ...assigned('--credential', ibm, ['IBM_CLOUD_API_KEY']),
      ...assigned('--config', ibm, ['WATSONX_URL', 'IBM_IAM_URL', 'WATSONX_PROJECT_ID']),
    )
  },
}

/**
 * Runs a client against `provider` (`vertex`, `azure`, `watsonx`) and `model`. `runs` are commands with
 * their options, as `agent` of `besideLab` takes them, and `expect`, a pattern that the output must
 * contain (`{ command, input, isInterrupted, expect }`); an interrupted one may end as it likes. `check` may look at
 * the lab's calls, too. It fails unless the lab was sent a context of 2 MB, saw one answer left in the
 * middle and three tokens, and refused none.
 */
export async function acceptance({ provider, model, runs, check = () => undefined }) {
  const place = { labOptions: ['--token-lifetime', TOKEN_LIFETIME] }
  await besideLab(place, async world => {
    await PROVIDERS[provider](world)
    await world.openshell('inference', 'set', '--provider', `my-${provider}`, '--model', model)
    for (const { command, expect, ...options } of runs) {
      const { code, output } = await world.agent(command, options)
      const isCut = options.isInterrupted === true
      if (code !== 0 && !isCut) throw new Error(`${command[0]} ended with ${code}`)
      if (!isCut && !expect.test(output)) throw new Error(`No ${expect} in what it said`)
    }
    const calls = await world.journal()
    requireSession(calls)
    await check({ ...world, calls })
  })
}

/** The calls that an agent made: those with a token of an inference API's. */
export function inferenceCalls(calls) {
  return calls.filter(call => call.tokenId !== '' && call.method === 'POST')
}

function requireSession(calls) {
  const asked = inferenceCalls(calls)
  const refused = asked.filter(({ status }) => status === 401)
  if (refused.length > 0) throw new Error(`${refused.length} calls met a 401`)
  const isLarge = ({ status, bodyBytes }) => status === 200 && bodyBytes > CONTEXT_BYTES
  if (!asked.some(isLarge)) throw new Error('No context of 2 MB was answered')
  if (!asked.some(({ outcome }) => outcome === 'abandoned')) {
    throw new Error('No answer was left in the middle')
  }
  const tokens = new Set(asked.map(({ tokenId }) => tokenId))
  if (tokens.size < TOKENS_MIN) throw new Error(`Only ${tokens.size} tokens served the session`)
  process.stdout.write(`${asked.length} calls with ${tokens.size} tokens, none refused\n`)
}

function assigned(flag, values, names) {
  return names.flatMap(name => [flag, `${name}=${values[name]}`])
}
