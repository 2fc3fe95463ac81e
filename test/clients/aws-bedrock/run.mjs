// Opt-in acceptance, not part of `npm test`: the AWS SDK and Anthropic's client for Bedrock, with
// placeholder keys, beside a router with a lab as AWS. Run `npm run clients -- aws-bedrock` in the root.
import path from 'node:path'
import { besideLab } from '../beside-lab.mjs'

const script = path.join(import.meta.dirname, 'agent.mjs')
const model = 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'
const place = { labOptions: ['--token-lifetime', '20s'] }

await besideLab(place, async ({ lab, openshell, agent, journal }) => {
  const { aws } = await (await fetch(`http://${lab}/lab/keys`)).json()
  const given = (flag, names) => names.flatMap(name => [flag, `${name}=${aws[name]}`])
  const places = ['AWS_REGION', 'AWS_ENDPOINT_URL_STS', 'AWS_ENDPOINT_URL_BEDROCK_RUNTIME']
  await openshell(
    ...['provider', 'add', '--type', 'aws-bedrock', '--name', 'my-bedrock'],
    ...given('--credential', ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']),
    ...given('--config', ['AWS_ROLE_ARN', ...places]),
  )
  await openshell('inference', 'set', '--provider', 'my-bedrock', '--model', model)
  const { code } = await agent([process.execPath, script])
  const asked = (await journal()).filter(call => call.path.startsWith('/bedrock/'))
  const theirs = asked.filter(call => !call.path.includes(encodeURIComponent(model)))
  if (theirs.length > 0) throw new Error("The agent's model reached AWS")
  if (code !== 0 || asked.length === 0) throw new Error(`The agent ended with ${code}`)
})
