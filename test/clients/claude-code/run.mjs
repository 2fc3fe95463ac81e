// Opt-in acceptance, not part of `npm test`: Claude Code answers `-p hi` beside a router, with a lab
// as Google Vertex AI. Run `npm install && npm run check` in this folder, after `npm start` or
// `npm run build` in the root.
import path from 'node:path'
import { besideLab } from '../beside-lab.mjs'

const claude = path.join(import.meta.dirname, 'node_modules/.bin/claude')
const place = { labPort: 17_780, gatewayPort: 17_770, labOptions: ['--token-lifetime', '20s'] }

await besideLab(place, async ({ lab, keyFile, openshell, agent, journal }) => {
  await openshell(
    ...['provider', 'add', '--type', 'vertex', '--name', 'my-vertex'],
    ...['--credential-file', `GOOGLE_SERVICE_ACCOUNT_JSON=${keyFile}`],
    ...['--config', `VERTEX_BASE_URL=http://${lab}/v1/projects/demo-project/locations/us-east1`],
  )
  await openshell('inference', 'set', '--provider', 'my-vertex', '--model', 'claude-sonnet-4-5')
  const { code, output } = await agent([claude, '-p', 'hi'])
  await journal()
  if (code !== 0 || output.trim() === '') throw new Error(`Claude Code ended with ${code}`)
})
