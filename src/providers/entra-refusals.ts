import type { FailureClass } from '../core/failure.ts'
import type { RefusalRule } from '../oauth/token-request.ts'

/** How a client proves to Entra ID who it is; some refusals mean different things for each. */
export type EntraProof = 'secret' | 'certificate' | 'federated'

/** AADSTS numbers that mean the same. */
interface Row {
  readonly numbers: readonly number[]
  readonly class: FailureClass
  readonly code: string
  readonly advice: string
}

const WAIT = 'Nothing to do, the gateway tries again by itself'

const ROWS: readonly Row[] = [
  {
    numbers: [7000215],
    class: 'P',
    code: 'entra_wrong_secret',
    advice:
      "Store the client secret's value, not its ID; when it is lost, create a new one for the app registration",
  },
  {
    numbers: [7000222],
    class: 'P',
    code: 'entra_secret_expired',
    advice: 'The client secret has expired: create a new one for the app registration',
  },
  {
    numbers: [7000218, 70002, 50012, 700025],
    class: 'P',
    code: 'entra_client_authentication_refused',
    advice:
      'Check AZURE_CLIENT_ID against the secret or certificate, and that the app is a confidential client',
  },
  {
    numbers: [700027],
    class: 'P',
    code: 'entra_wrong_certificate',
    advice:
      'Upload this certificate to the app registration AZURE_CLIENT_ID, or store the one that is uploaded there',
  },
  {
    numbers: [500133, 50013, 50027],
    class: 'S',
    code: 'entra_assertion_refused',
    advice: 'Check that the token file is kept fresh, and the clocks of both machines',
  },
  {
    numbers: [90002, 900023],
    class: 'P',
    code: 'entra_tenant_not_found',
    advice: 'Check AZURE_TENANT_ID, and that AZURE_AUTHORITY_HOST is of the same cloud',
  },
  {
    numbers: [7000112],
    class: 'P',
    code: 'entra_app_disabled',
    advice: 'Enable the enterprise application of AZURE_CLIENT_ID in its tenant',
  },
  {
    numbers: [500011, 50001, 650057],
    class: 'P',
    code: 'entra_resource_not_found',
    advice: 'Check AZURE_OPENAI_SCOPE, and that AZURE_AUTHORITY_HOST is of the same cloud',
  },
  {
    numbers: [70011, 70022, 700022, 1002012, 28000],
    class: 'P',
    code: 'entra_wrong_scope',
    advice: 'AZURE_OPENAI_SCOPE must be one resource followed by /.default',
  },
  {
    numbers: [53000, 53001, 53002, 53003, 53004, 530031, 530032, 530034, 50158],
    class: 'Q',
    code: 'entra_conditional_access',
    advice: 'A Conditional Access policy blocks this identity: ask the administrator of the tenant',
  },
  {
    numbers: [50076, 50079, 65001, 50105, 700082, 70008, 50173, 70043],
    class: 'P',
    code: 'entra_consent_required',
    advice: 'Let the administrator of the tenant consent to the app, or assign it to the resource',
  },
  {
    numbers: [900384, 9002313, 900144, 90014, 90023],
    class: 'P',
    code: 'entra_malformed_request',
    advice: 'Check the configuration of the provider; if it is right, report this message',
  },
  {
    numbers: [50033, 50087, 90006, 90012, 90024, 90033, 90090, 40010, 70012, 50000],
    class: 'T',
    code: 'oauth_token_endpoint_retryable',
    advice: WAIT,
  },
  { numbers: [50196, 90055, 50166], class: 'H', code: 'entra_throttled', advice: WAIT },
  {
    numbers: [90038, 51005],
    class: 'P',
    code: 'entra_wrong_cloud',
    advice: 'The tenant is in another cloud: set AZURE_AUTHORITY_HOST to that of its cloud',
  },
]

/**
 * What Entra ID's AADSTS numbers mean. They only refine: a number that is not in the table leaves
 * the decision to the OAuth `error`, as Microsoft asks.
 *
 * What does not exist yet may be on its way through the directory: while the provider `isNew`, such
 * a refusal is probed again instead of being final.
 */
export function entraRefusals(
  proof: EntraProof,
  options: { readonly isNew: boolean },
): readonly RefusalRule[] {
  const missing = options.isNew ? 'Q' : 'P'
  const dependent: readonly Row[] = [
    {
      numbers: [700024],
      class: proof === 'federated' ? 'S' : 'C',
      code: proof === 'federated' ? 'entra_assertion_expired' : 'entra_clock_skew',
      advice:
        proof === 'federated'
          ? 'Check that whoever writes AZURE_FEDERATED_TOKEN_FILE keeps it fresh'
          : "Set the gateway's clock: Entra ID finds the times in the signed request unreasonable",
    },
    {
      numbers: [700213, 70021, 700229, 700211, 700212],
      class: missing,
      code: 'entra_no_federated_credential',
      advice:
        'Add a federated credential to the app registration whose issuer, subject and audience are those of the token file',
    },
    {
      numbers: [700016, 700011, 70001],
      class: missing,
      code: 'entra_app_not_found',
      advice: 'Check AZURE_CLIENT_ID and AZURE_TENANT_ID: this tenant has no such application',
    },
  ]
  return [...dependent, ...ROWS].map(ruleOf)
}

function ruleOf(row: Row): RefusalRule {
  return {
    error: null,
    pattern: new RegExp(`^AADSTS(?:${row.numbers.join('|')})(?!\\d)`),
    class: row.class,
    code: row.code,
    advice: row.advice,
    recoveryAction: row.class === 'T' || row.class === 'H' ? 'retry' : 'fix_configuration',
  }
}
