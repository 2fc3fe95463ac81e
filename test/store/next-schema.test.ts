// Goal: this version does all of its work on the schema of the next one, as it has to while gateways are
// replaced one by one. Method: the store suite again, on databases that the next version has migrated.
import { after, before, describe } from 'node:test'
import { NEWEST_STEP } from '../../src/store/migrations.ts'
import { candidateCases } from './candidate-cases.ts'
import { changeCases } from './change-cases.ts'
import { credentialCases } from './credential-cases.ts'
import { sqlite, type TestDatabase } from './databases.ts'
import { migrateToNext } from './next-schema.ts'
import { gatewaySecretCases, routeCases } from './other-cases.ts'
import { providerCases } from './provider-cases.ts'
import { rekeyCases } from './rekey-cases.ts'
import { sandboxCases } from './sandbox-cases.ts'
import { workspaceCases } from './workspace-cases.ts'

const next: TestDatabase = {
  ...sqlite,
  async newLocation() {
    const location = await sqlite.newLocation()
    await migrateToNext(location, NEWEST_STEP)
    return location
  },
}

before(() => next.start())
after(() => next.stop())

describe('providers', () => providerCases(next))
describe('credentials', () => credentialCases(next))
describe('candidates', () => candidateCases(next))
describe('changes', () => changeCases(next))
describe('routes', () => routeCases(next))
describe('sandboxes', () => sandboxCases(next))
describe('workspaces', () => workspaceCases(next))
describe('gateway secrets', () => gatewaySecretCases(next))
describe('rekeying', () => rekeyCases(next))
