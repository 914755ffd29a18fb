import { anything, choice, duration, flag, integer, list, mapOf, orNull, path, text, url } from '../kinds.ts';
import { group, LATER, option, section } from '../option.ts';

const attributeRequirements = option(
  list(
    section({
      attribute: option(text, undefined, 'The attribute.'),
      value: option(text, undefined, 'The value it must have.'),
      one_of: option(list(text), undefined, 'The values of which it must have one.'),
    }),
  ),
  [],
  'What must hold of those who want to log in.',
);

const mappingProvider = option(
  section({
    module: option(text, undefined, 'The Python class that does it.'),
    config: option(anything, undefined, 'Templates, or what the class wants to know.'),
  }),
  undefined,
  'How the provider’s user becomes one of Matrix.',
);

const brand = {
  idp_name: option(text, undefined, 'What users are shown.'),
  idp_icon: option(text, undefined, 'The picture users are shown, as mxc:// address.'),
  idp_brand: option(text, undefined, 'Lets clients show the provider in its own style.'),
};

const oidcProvider = {
  ...brand,
  idp_id: option(text, undefined, 'A name that must not change.'),
  discover: option(flag, true, 'Ask the provider for its addresses.'),
  issuer: option(url, undefined, 'The provider.'),
  client_id: option(text, undefined, 'What this server is called there.'),
  client_secret: option(text, undefined, 'Its password there.', { secret: true }),
  client_secret_path: option(path, undefined, 'A file with that password.'),
  client_secret_jwt_key: option(
    section({
      key: option(text, undefined, 'The key, in PEM format.', { secret: true }),
      key_file: option(path, undefined, 'A file with the key.'),
      jwt_header: option(mapOf(anything), {}, 'The header of the token.'),
      jwt_payload: option(mapOf(anything), {}, 'The payload of the token.'),
    }),
    undefined,
    'A key to make passwords with.',
  ),
  client_auth_method: option(
    choice('client_secret_basic', 'client_secret_post', 'none'),
    undefined,
    'How the password is sent.',
  ),
  pkce_method: option(choice('auto', 'always', 'never'), 'auto', 'Whether PKCE is used.'),
  id_token_signing_alg_values_supported: option(list(text), undefined, 'Algorithms that ID tokens may be signed with.'),
  scopes: option(list(text), ['openid'], 'What is asked for.'),
  authorization_endpoint: option(url, undefined, 'Where users log in.'),
  token_endpoint: option(url, undefined, 'Where codes are turned into tokens.'),
  userinfo_endpoint: option(url, undefined, 'Where it says who a user is.'),
  jwks_uri: option(url, undefined, 'Where the provider’s keys are.'),
  skip_verification: option(flag, false, 'Do not check what the provider says of itself.'),
  user_profile_method: option(choice('auto', 'userinfo_endpoint'), 'auto', 'Where a user’s profile is taken from.'),
  redirect_uri: option(url, undefined, 'Where users come back to.'),
  additional_authorization_parameters: option(mapOf(text), {}, 'Further parameters of the login page.'),
  passthrough_authorization_parameters: option(list(text), [], 'Parameters handed on to the login page.'),
  allow_existing_users: option(flag, false, 'Let users in whose account was not made by the provider.'),
  enable_registration: option(flag, true, 'Make accounts for users who have none.'),
  user_mapping_provider: mappingProvider,
  backchannel_logout_enabled: option(flag, false, 'Log users out when they log out there.'),
  backchannel_logout_ignore_sub: option(flag, false, 'Do not check whom a logout is about.'),
  attribute_requirements: attributeRequirements,
};

/** Logging in with an account somewhere else. */
export const signOnOptions = {
  saml2_config: option(
    section({
      ...brand,
      sp_config: option(mapOf(anything), undefined, 'The configuration of pysaml2.'),
      config_path: option(path, undefined, 'A file with the configuration of pysaml2.'),
      saml_session_lifetime: option(duration, 900_000, 'How long users have time to log in.'),
      user_mapping_provider: mappingProvider,
      grandfathered_mxid_source_attribute: option(text, 'uid', 'Where old accounts are recognised by.'),
      attribute_requirements: attributeRequirements,
      idp_entityid: option(text, undefined, 'Which of several providers is meant.'),
      mxid_source_attribute: option(text, undefined, 'What makes the user ID.', {
        note: 'has no effect; write user_mapping_provider: config: mxid_source_attribute',
      }),
      mxid_mapping: option(text, undefined, 'How it makes the user ID.', {
        note: 'has no effect; write user_mapping_provider: config: mxid_mapping',
      }),
      enabled: option(flag, true, 'Whether SAML is used.'),
    }),
    undefined,
    'Login with SAML.',
    { note: LATER },
  ),
  oidc_providers: option(list(section(oidcProvider)), [], 'Login with OpenID Connect.', { note: LATER }),
  cas_config: option(
    section({
      ...brand,
      enabled: option(flag, false, 'Whether CAS is used.'),
      server_url: option(url, undefined, 'The CAS server.'),
      service_url: option(url, undefined, 'Where users come back to.', {
        note: 'has no effect: public_baseurl says it',
      }),
      protocol_version: option(integer({ min: 1, max: 3 }), undefined, 'The version of CAS.'),
      displayname_attribute: option(text, undefined, 'Where the display name is taken from.'),
      required_attributes: option(mapOf(orNull(text)), {}, 'What must hold of those who want to log in.'),
      enable_registration: option(flag, true, 'Make accounts for users who have none.'),
      allow_numeric_ids: option(flag, false, 'Accept names that are numbers.'),
      numeric_ids_prefix: option(text, 'u', 'What such names begin with.'),
    }),
    undefined,
    'Login with CAS.',
    { note: LATER },
  ),
  sso: group(
    {
      client_whitelist: option(list(text), [], 'Beginnings of addresses of clients that are let in without asking.'),
      update_profile_information: option(flag, false, 'Take the display name over at every login.'),
      template_dir: option(path, undefined, 'The old place for templates.', {
        note: 'has no effect; write templates: custom_template_directory',
      }),
    },
    'What holds for all of these.',
    { note: LATER },
  ),
  jwt_config: option(
    section({
      enabled: option(flag, false, 'Whether tokens let users in.'),
      secret: option(text, undefined, 'What tokens are signed with.', { secret: true }),
      algorithm: option(text, undefined, 'How tokens are signed.'),
      subject_claim: option(text, 'sub', 'What names the user.'),
      display_name_claim: option(text, undefined, 'What names the display name.'),
      issuer: option(text, undefined, 'Whom tokens have to come from.'),
      audiences: option(list(text), undefined, 'Whom tokens have to be for.'),
    }),
    undefined,
    'Login with JSON Web Tokens.',
    { note: LATER },
  ),
  matrix_authentication_service: option(
    section({
      enabled: option(flag, false, 'Whether such a service is used.'),
      endpoint: option(url, 'http://localhost:8080/', 'Where it is.'),
      force_http2: option(flag, false, 'Speak HTTP/2 to it.'),
      secret: option(text, undefined, 'The secret shared with it.', { secret: true }),
      secret_path: option(path, undefined, 'A file with that secret.'),
    }),
    undefined,
    'A service that takes care of accounts in place of this server.',
    { note: 'has no effect: accounts are taken care of by the server itself' },
  ),
};
