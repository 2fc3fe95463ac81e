// Opt-in acceptance, not part of `npm test`: IBM's own SDK with a placeholder token, beside a router
// with a lab as IBM Cloud. Run `npm install && npm run check` in this folder, after `npm run build`
// in the root.
import path from 'node:path'
import { besideLab } from '../beside-lab.mjs'

const script = path.join(import.meta.dirname, 'agent.mjs')
const model = 'ibm/granite-3-3-8b-instruct'
const place = { labPort: 17_784, gatewayPort: 17_774, labOptions: ['--token-lifetime', '20s'] }

await besideLab(place, async ({ lab, openshell, agent, journal }) => {
  const { ibm } = await (await fetch(`http://${lab}/lab/keys`)).json()
  const given = (flag, names) => names.flatMap(name => [flag, `${name}=${ibm[name]}`])
  await openshell(
    ...['provider', 'add', '--type', 'watsonx', '--name', 'my-watsonx'],
    ...given('--credential', ['IBM_CLOUD_API_KEY']),
    ...given('--config', ['WATSONX_URL', 'IBM_IAM_URL', 'WATSONX_PROJECT_ID']),
  )
  await openshell('inference', 'set', '--provider', 'my-watsonx', '--model', model)
  const { code } = await agent([process.execPath, script])
  const asked = (await journal()).filter(call => call.path.startsWith('/ml/'))
  for (const call of asked) {
    const body = await (await fetch(`http://${lab}/lab/journal/${call.id}/body`)).json()
    if (body.model_id !== model || body.project_id !== ibm.WATSONX_PROJECT_ID) {
      throw new Error("The agent's model or project reached watsonx")
    }
  }
  if (code !== 0 || asked.length === 0) throw new Error(`The agent ended with ${code}`)
})
