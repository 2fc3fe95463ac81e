import type { ProbeRule } from './provider-type.ts'

/** What watsonx.ai's refusals mean; it says the code in `errors[0].code`. */
export const WATSONX_PROBE_RULES: readonly ProbeRule[] = [
  {
    status: 401,
    pattern: /authorization_rejected/,
    code: 'watsonx_authorization_rejected',
    advice:
      'Give the owner of the key the role Viewer or Editor in the project or space, and access to the watsonx.ai Runtime',
  },
  {
    status: 401,
    pattern: /authentication_token_not_valid|authentication_token_expired/,
    code: 'watsonx_token_not_valid',
    advice: 'The token is not for this address: check that WATSONX_URL and the key belong together',
  },
  {
    status: 403,
    pattern: /no_associated_service_instance/,
    code: 'watsonx_no_service_instance',
    advice: 'Associate a watsonx.ai Runtime with the project: Manage › Services and integrations',
  },
  {
    status: 403,
    pattern: /token_quota_reached/,
    code: 'watsonx_quota_reached',
    advice: 'The plan has no tokens left this month: wait, or change the plan',
  },
  {
    status: 404,
    pattern: /model_not_supported/,
    code: 'watsonx_model_not_supported',
    advice: 'Choose a model that the region of WATSONX_URL serves',
  },
  {
    status: 404,
    pattern: /project|space|container/i,
    code: 'watsonx_project_not_found',
    advice:
      'Check WATSONX_PROJECT_ID or WATSONX_SPACE_ID, and that it is in the region of WATSONX_URL',
  },
]
