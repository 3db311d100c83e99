"""What importers have to say about a document: coded issues that name the place and never hold health data."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

from lxml import etree

from fhir_server.errors import FhirServerError, Invalid, Issue, TooLarge

CANONICAL_BASE: Final = "https://example.org/fhir-server"
ISSUES: Final = f"{CANONICAL_BASE}/CodeSystem/import-issue"
REJECTIONS: Final = f"{CANONICAL_BASE}/CodeSystem/import-rejection"

Failure = TypeVar("Failure", bound=FhirServerError)


class Message(NamedTuple):
    """What a code means: FHIR issue type, severity where it does not stop the import, French text, English text."""

    type: str
    severity: str
    french: str
    english: str


# The 9xx codes are those a French health record answers to a deposit; the others are ours.
MESSAGES: Final[dict[str, Message]] = {
    "900": Message("conflict", "error", "Version incorrecte pour un remplacement.", "wrong version for a replacement"),
    "901": Message(
        "forbidden", "error", "L'auteur ne peut pas remplacer ce document.", "the author may not replace this document"
    ),
    "902": Message("not-found", "error", "Patient inconnu.", "unknown patient"),
    "903": Message("required", "error", "Aucun INS dans l'identité du patient.", "recordTarget carries no INS"),
    "904": Message(
        "conflict", "error", "L'INS et les traits d'identité ne concordent pas.", "INS and identity traits disagree"
    ),
    "905": Message("required", "error", "Traits d'identité incomplets.", "identity traits are incomplete"),
    "906": Message("invalid", "error", "Document refusé.", "document refused"),
    "doubtful-ins": Message("value", "warning", "L'INS est douteux.", "doubtful INS"),
    "not-a-document": Message(
        "structure", "error", "Exactement un document CDA est attendu.", "expected exactly one ClinicalDocument"
    ),
    "not-built": Message(
        "not-supported", "error", "Ce format n'est pas encore pris en charge.", "this format cannot be imported yet"
    ),
    "not-well-formed": Message("structure", "error", "XML mal formé.", "XML is not well-formed"),
    "encoding": Message("not-supported", "error", "Encodage non pris en charge.", "character encoding not supported"),
    "doctype": Message("security", "error", "Une déclaration DOCTYPE est interdite.", "a DOCTYPE is not allowed"),
    "bad-base64": Message("invalid", "error", "Contenu base64 invalide.", "content is not valid base64"),
    "empty-body": Message("required", "error", "Le corps du document est vide.", "the document body is empty"),
    "media-mismatch": Message(
        "invalid", "error", "Le contenu ne correspond pas à son type.", "content does not agree with its mediaType"
    ),
    "unknown-media": Message(
        "not-supported", "warning", "Type de contenu inconnu, conservé tel quel.", "unknown mediaType, stored as bytes"
    ),
    "mislabelled-media": Message(
        "invalid",
        "warning",
        "Le contenu n'est pas du type annoncé, conservé tel quel.",
        "content does not agree with its mediaType, stored as bytes",
    ),
    "external-content": Message(
        "incomplete", "warning", "Le contenu référencé n'est pas dans le document.", "referenced content is not fetched"
    ),
    "unknown-type": Message(
        "code-invalid", "warning", "Type de document sans classe connue.", "document type without a known class"
    ),
    "unknown-system": Message(
        "code-invalid", "information", "Système de codage inconnu, conservé.", "unknown code system, kept as an OID"
    ),
    "bad-oid": Message("code-invalid", "warning", "OID invalide, ignoré.", "not an OID, left out"),
    "misprinted-oid": Message("code-invalid", "warning", "OID erroné, corrigé.", "wrong OID corrected"),
    "unknown-visibility": Message(
        "code-invalid",
        "warning",
        "Visibilité inconnue : la plus restrictive est appliquée.",
        "unknown visibility, the most restrictive one applies",
    ),
    "no-confidentiality": Message(
        "incomplete", "information", "Confidentialité absente, lue comme normale.", "no confidentiality, read as normal"
    ),
    "no-timezone": Message(
        "incomplete",
        "information",
        "Heure sans fuseau, lue à l'heure de Paris.",
        "time without offset, read as Europe/Paris",
    ),
    "bad-date": Message("value", "warning", "Date illisible, ignorée.", "unreadable date, left out"),
    "bad-period": Message(
        "value", "warning", "La fin précède le début, elle est ignorée.", "the end is before the start, left out"
    ),
    "no-service-start": Message(
        "incomplete",
        "information",
        "Début de l'acte absent, lu à la date du document.",
        "no start of service, the date of the document stands in",
    ),
    "given-names": Message(
        "incomplete",
        "information",
        "La liste des prénoms de naissance est complétée par le premier prénom.",
        "the list of birth given names is completed by the first one",
    ),
    "unexpected-standard": Message(
        "not-supported", "warning", "Référence au standard CDA inattendue.", "typeId is not POCD_HD000040"
    ),
    "missing-element": Message("incomplete", "warning", "Élément attendu absent.", "an expected element is absent"),
    "parent-unknown": Message(
        "not-found", "warning", "Le document parent n'est pas connu.", "a declared parent document is not known"
    ),
    "dangling-reference": Message(
        "not-found",
        "information",
        "Des renvois vers le texte ne mènent nulle part.",
        "references into the narrative lead nowhere",
    ),
    "end-of-active": Message(
        "conflict",
        "information",
        "Fin d'un problème dit actif, gardée en commentaire.",
        "the end of a problem that is said to be active is kept as a note",
    ),
    "bad-number": Message("value", "warning", "Nombre illisible, ignoré.", "unreadable number, left out"),
    "bad-range": Message(
        "value", "warning", "Le bas de l'intervalle dépasse le haut, ignoré.", "the low end is above the high one"
    ),
    "unknown-value-type": Message(
        "not-supported",
        "warning",
        "Type de valeur inconnu : gardé dans le texte.",
        "unknown xsi:type, kept as narrative only",
    ),
    "entry-failed": Message(
        "exception",
        "warning",
        "Entrée illisible : gardée dans le texte.",
        "the entry could not be converted, kept as narrative only",
    ),
    "hostile-archive": Message(
        "security", "error", "Archive refusée par sécurité.", "the archive has a member that is not allowed"
    ),
    "hash-mismatch": Message(
        "invalid", "error", "L'empreinte ne correspond pas au contenu.", "the hash is not that of the bytes"
    ),
    "size-mismatch": Message(
        "invalid", "error", "La taille ne correspond pas au contenu.", "the size is not that of the bytes"
    ),
    "no-content": Message(
        "not-found", "error", "Métadonnées sans document.", "metadata without the bytes of their document"
    ),
    "no-metadata": Message("not-found", "error", "Document sans métadonnées.", "a document without metadata"),
    "set-shared": Message(
        "conflict",
        "warning",
        "Un document d'un autre type porte le même setId : ce n'est pas une version de celui-ci.",
        "a document of another type has this setId: no version of this one",
    ),
    "edited-since": Message(
        "conflict",
        "warning",
        "Une ressource modifiée depuis est laissée telle quelle.",
        "a resource that was edited since is left alone",
    ),
    "not-valid": Message(
        "invalid",
        "warning",
        "Entrée hors du modèle R4 : gardée dans le texte.",
        "what the entry became is not valid R4, kept as narrative only",
    ),
    "bad-language": Message("value", "warning", "Code de langue invalide, ignoré.", "not a language code, left out"),
}


class Notes:
    """The issues that one document gathers while it is read, each once per place."""

    __slots__ = ("_found", "unknown_systems")

    def __init__(self) -> None:
        """Begin with nothing to say."""
        self._found: dict[Issue, None] = {}
        self.unknown_systems: dict[str, int] = {}

    def add(self, code: str, element: etree._Element | None = None, detail: str = "") -> None:
        """Note what `MESSAGES` says of the code, at that element."""
        self._found[issue(code, element, detail)] = None

    def unknown_system(self, oid: str, element: etree._Element) -> None:
        """Count a code system without URI, and note it where it is met first."""
        if oid not in self.unknown_systems:
            self.add("unknown-system", element, oid)
        self.unknown_systems[oid] = self.unknown_systems.get(oid, 0) + 1

    def extend(self, issues: tuple[Issue, ...]) -> None:
        """Note issues made elsewhere."""
        self._found.update(dict.fromkeys(issues))

    @property
    def issues(self) -> tuple[Issue, ...]:
        """What was noted, in order."""
        return tuple(self._found)


def issue(code: str, element: etree._Element | None = None, detail: str = "") -> Issue:
    """An Issue of `MESSAGES`: expression the path of the element, diagnostics its line and the English text."""
    message = MESSAGES[code]
    line = f"line {element.sourceline}: " if element is not None and element.sourceline else ""
    diagnostics = f"{line}{message.english}{f' ({detail})' if detail else ''}"
    return Issue(message.type, message.french, place(element), message.severity, coding(code), diagnostics)


def refusal(kind: type[Failure], code: str, element: etree._Element | None = None, detail: str = "") -> Failure:
    """The error of that kind which refuses a document for the reason `code`; `detail` is English and without data."""
    return kind(MESSAGES[code].french, issues=[issue(code, element, detail)])


def rejection(code: str, detail: str = "", element: etree._Element | None = None) -> Invalid:
    """The 422 with one of the codes 900 to 906 that a deposit in the French record can be answered."""
    return refusal(Invalid, code, element, detail)


def over_limit(cap: str, maximum: float) -> TooLarge:
    """The 413 that names the cap a document exceeds."""
    name = cap.replace("_", "-")
    text = "Le document dépasse une limite de ce serveur."
    found = Issue("too-long", text, coding=coding(f"limit:{name}"), diagnostics=f"{name} is limited to {maximum}")
    return TooLarge(text, issues=[found])


def coding(code: str) -> tuple[str, str]:
    """The (system, code) of an issue: one of the 9xx rejections, or one of ours."""
    return (REJECTIONS if code.isdigit() else ISSUES, code)


def place(element: etree._Element | None) -> str:
    """The path of an element from its ClinicalDocument, by local names: `/ClinicalDocument/recordTarget/…/id[2]`."""
    steps: list[str] = []
    while element is not None:
        name, parent = str(element.tag).rpartition("}")[2], element.getparent()
        steps.append(name + _position(element, parent))
        if name == "ClinicalDocument":
            break
        element = parent
    return "".join(f"/{step}" for step in reversed(steps))


def _position(element: etree._Element, parent: etree._Element | None) -> str:
    if parent is None or len(parent) == 1:
        return ""
    tag = element.tag
    alike = [each for each in parent if each.tag == tag]
    return "" if len(alike) == 1 else f"[{alike.index(element) + 1}]"
