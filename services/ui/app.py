"""The service put together."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.ui import (
    activity,
    adjudication,
    assets,
    batches,
    beginning,
    browsing,
    checkpoints,
    configuration,
    data,
    exports,
    gallery,
    gold,
    grid,
    images,
    insight,
    labelling,
    linking,
    looking,
    map,
    models,
    navigation,
    oidc,
    operations,
    pages,
    people,
    people_account,
    people_invitations,
    people_keys,
    people_system,
    permits,
    projects,
    quality,
    quick,
    review,
    review_calls,
    sign_in,
    tags,
    vendor,
    webhooks,
    wording,
    workplace,
)
from services.ui.failures import show_as_pages
from services.ui.form_tokens import FormField, FormTokens
from services.ui.oidc_provider import Provider
from services.ui.parts import Parts
from services.ui.security import SameOrigin, SecurityHeaders
from services.ui.sessions import NotSignedIn, ask_to_sign_in, cookie_name
from services.ui.standing import Standings
from services.ui.telling import Telling
from services.ui.throttle import Throttle
from services.ui.words import TRANSLATIONS
from shared import web
from shared.intake.receiving import Receiver
from shared.settings import OidcSettings, UiSettings
from shared.system import System

_PAGES = (
    labelling,  # asked most often by far, and routes are gone through in order
    sign_in,
    beginning,  # before whatever would take "new" for a project's id
    pages,
    workplace,
    checkpoints,  # before whatever would take "compare" for a model's id
    models,
    browsing,
    images,
    review,
    review_calls,
    looking,
    batches,
    grid,
    quick,
    map,
    tags,
    projects,
    insight,
    gallery,
    activity,
    adjudication,
    quality,
    gold,
    vendor,
    operations,
    webhooks,
    people,
    people_system,
    people_invitations,
    people_account,
    linking,
    people_keys,
    oidc,
    configuration,
    data,
    exports,
    assets,
)


def create_app(system: System, settings: UiSettings, identity: OidcSettings | None = None) -> FastAPI:
    """The app, ready to be served. The caller keeps ``system`` open for as long as it is.

    ``identity``: the identity provider through which people may sign in, too.
    """
    app = FastAPI(title="Winnow: labelling", docs_url=None, redoc_url=None)
    static = f"/static/{assets.version(assets.STATIC)}"
    standings = Standings(system.database)
    app.state.parts = Parts(
        system=system,
        settings=settings,
        templates=_templates(static),
        standings=standings,
        telling=Telling(standings),
        throttle=Throttle(system.database),
        provider=Provider(identity) if identity is not None and identity.issuer else None,
        receiver=Receiver(
            system,
            max_file_bytes=settings.max_file_bytes,
            max_pixels=settings.max_pixels,
            decode_memory_bytes=settings.decode_memory_bytes,
        ),
    )
    for module in _PAGES:
        app.include_router(module.router)
    app.mount(static, assets.KeptFiles(directory=assets.STATIC))
    # The last one added is the outermost: a refusal, too, is logged and gets the headers.
    app.add_middleware(FormTokens, cookie=cookie_name(settings))
    app.add_middleware(SameOrigin)
    web.install(app, service="ui", ready=system.check)
    app.add_middleware(SecurityHeaders)
    app.add_exception_handler(NotSignedIn, ask_to_sign_in)
    show_as_pages(app)
    return app


def _templates(static: str) -> Jinja2Templates:
    environment = Environment(
        loader=FileSystemLoader(assets.TEMPLATES),
        extensions=["jinja2.ext.i18n", FormField],
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_translations(TRANSLATIONS, newstyle=True)  # type: ignore[attr-defined]
    wording.install(environment)
    environment.globals.update(
        static=static,
        plotly=assets.PLOTLY_PATH,
        project_places=navigation.PROJECT,
        system_places=navigation.SYSTEM,
    )
    return Jinja2Templates(env=environment, context_processors=[permits.for_templates])
