import type { ProbeRule } from './provider-type.ts'

/** What Vertex AI's refusals mean. Google says the reason in `error.details[].reason`. */
export const GOOGLE_PROBE_RULES: readonly ProbeRule[] = [
  {
    status: 403,
    pattern: /SERVICE_DISABLED|has not been used in project|API is disabled/i,
    code: 'google_api_disabled',
    advice:
      "Enable the API in the project: 'gcloud services enable aiplatform.googleapis.com --project PROJECT'",
  },
  {
    status: 403,
    pattern: /BILLING_DISABLED|requires billing/i,
    code: 'google_billing_disabled',
    advice: 'Link a billing account to the project',
  },
  {
    status: 403,
    pattern: /USER_PROJECT_DENIED|serviceusage\.services\.use/,
    code: 'google_quota_project_denied',
    advice:
      'Grant roles/serviceusage.serviceUsageConsumer on the quota project, or name another quota project',
  },
  {
    status: 403,
    pattern: /CONSUMER_INVALID/,
    code: 'google_project_invalid',
    advice: 'Check the project in the configuration: Google knows none of that name',
  },
  {
    status: 403,
    pattern: /VPC_SERVICE_CONTROLS|SECURITY_POLICY_VIOLATED/,
    code: 'google_perimeter',
    advice: 'A service perimeter of the organisation forbids this: ask its administrator',
  },
  {
    status: 403,
    pattern: null,
    code: 'google_permission_denied',
    advice: 'Grant roles/aiplatform.user on the project to the account that the key belongs to',
  },
  {
    status: 401,
    pattern: /ACCESS_TOKEN_TYPE_UNSUPPORTED/,
    code: 'google_token_type_unsupported',
    advice: 'Google takes what was sent for no access token: check which credential is configured',
  },
  {
    status: 401,
    pattern: /ACCOUNT_STATE_INVALID/,
    code: 'google_account_disabled',
    advice: 'Enable the account again, or use another one’s key',
  },
  {
    status: 404,
    pattern: /publisher model/i,
    code: 'google_model_not_found',
    advice:
      'Check the model id, enable the model in Model Garden for this project, and see that the location serves it',
  },
  {
    status: 400,
    pattern: /not (servable|supported|available) in/i,
    code: 'google_model_not_in_location',
    advice: 'Configure a location that serves this model, or "global"',
  },
  {
    status: 429,
    pattern: null,
    code: 'google_quota_exhausted',
    advice: 'Ask for more quota for this model in this location, or use another location',
  },
]
