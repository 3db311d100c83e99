// fhir-kit-client drives the server: node fhir_kit_client.mjs <module> <base> <token> <patient>; prints one line of JSON.
const [module, baseUrl, bearerToken, patient] = process.argv.slice(2);
const { Client } = await import(module);
const client = new Client({ baseUrl, bearerToken });
const story = {};
const failing = async (act) => {
  try {
    await act();
    return 'no failure';
  } catch (error) {
    return error.response?.status ?? String(error);
  }
};

const system = 'https://example.org/acceptance';
const glucose = (day, value, mark) => ({
  resourceType: 'Observation',
  identifier: [{ system, value: mark }],
  status: 'final',
  category: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/observation-category', code: 'laboratory' }] }],
  code: { coding: [{ system: 'http://loinc.org', code: '2339-0' }] },
  subject: { reference: patient },
  effectiveDateTime: `2026-03-0${day}`,
  valueQuantity: { value, unit: 'mg/dL', system: 'http://unitsofmeasure.org', code: 'mg/dL' },
});

const statement = await client.capabilityStatement();
story.fhirVersion = statement.fhirVersion;

const created = await client.create({ resourceType: 'Observation', body: glucose(1, 91.5, 'kit') });
const { id } = created;
story.created = created.meta.versionId;
story.read = (await client.read({ resourceType: 'Observation', id })).valueQuantity.value;

const ifMatch = { options: { headers: { 'If-Match': 'W/"1"' } } };
const updated = { ...created, status: 'amended' };
story.updated = (await client.update({ resourceType: 'Observation', id, body: updated, ...ifMatch })).meta.versionId;
story.outdated = await failing(() => client.update({ resourceType: 'Observation', id, body: updated, ...ifMatch }));

const jsonPatch = [{ op: 'replace', path: '/status', value: 'corrected' }];
story.patched = (await client.patch({ resourceType: 'Observation', id, jsonPatch })).status;
story.vread = (await client.vread({ resourceType: 'Observation', id, version: '1' })).status;
story.history = (await client.history({ resourceType: 'Observation', id })).entry.map((each) => each.resource.status);

const answer = await client.transaction({
  body: {
    resourceType: 'Bundle',
    type: 'transaction',
    entry: [1, 2, 3, 4, 5].map((day) => ({
      resource: glucose(day, 90 + day, 'kit-pages'),
      request: { method: 'POST', url: 'Observation' },
    })),
  },
});
story.transaction = answer.entry.map((each) => each.response.status.slice(0, 3));

const searchParams = {
  patient,
  identifier: `${system}|kit-pages`,
  'subject:Patient.family': 'pat-trois',
  _include: 'Observation:patient',
  _sort: 'date',
  _count: 2,
};
let page = await client.resourceSearch({ resourceType: 'Observation', searchParams });
story.values = [];
story.included = new Set();
while (page) {
  for (const { resource, search } of page.entry) {
    if (search.mode === 'match') story.values.push(resource.valueQuantity.value);
    else story.included.add(resource.resourceType);
  }
  page = await client.nextPage({ bundle: page });
}
story.included = [...story.included];

const everything = await client.operation({
  name: '$everything',
  resourceType: 'Patient',
  id: patient.split('/')[1],
  method: 'GET',
});
story.everything = everything.entry[0].resource.resourceType;

await client.delete({ resourceType: 'Observation', id });
story.gone = await failing(() => client.read({ resourceType: 'Observation', id }));
console.log(JSON.stringify(story));
