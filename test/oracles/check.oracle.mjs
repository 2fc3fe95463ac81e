// Goal: our requests to Google, Entra ID, IBM and AWS are those of the vendors' own libraries.
// Method: both get a token of the same strict lab; what its journal saw is compared, fact by fact, and
// every difference has a row that says why. Run it by hand, for the libraries are no part of the
// project's own installation:  cd test/oracles && npm ci && npm run check
import { awsCases } from './aws.oracle.mjs'
import { newLab } from './compare.mjs'
import { entraCases } from './entra.oracle.mjs'
import { googleCases } from './google.oracle.mjs'
import { ibmCases } from './ibm.oracle.mjs'

const lab = await newLab()
let passed = 0
let failed = 0
for (const [name, run] of [...googleCases, ...entraCases, ...ibmCases, ...awsCases]) {
  try {
    await run(lab)
    passed += 1
    console.log(`ok   ${name}`)
  } catch (error) {
    failed += 1
    console.log(`FAIL ${name}\n    ${error instanceof Error ? error.message : error}`)
  }
}
await lab.close()
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)
