"""French."""

TEXTS: dict[str, str] = {
    # Partout
    "application.title": "Vigie",
    "application.language": "Langue",
    "view.now": "Maintenant",
    "view.trend": "Tendance",
    "view.operation": "Exploitation",
    "unit.day": "j",
    "time.now": "à l’instant",
    "time.ago": "il y a {duration}",
    "quantity.temperature": "Température",
    "quantity.humidity": "Humidité",
    "quantity.co2": "CO₂",
    "quantity.pressure": "Pression",
    "quantity.battery_level": "Batterie",
    "quantity.battery_voltage": "Tension de batterie",
    "status.ok": "OK",
    "status.warning": "Avertissement",
    "status.critical": "Critique",
    "status.failure": "Panne",
    "status.stale": "Muet",
    "status.unknown": "Inconnu",
    "alert_kind.threshold": "Seuil",
    "alert_kind.fault": "Défaut",
    "alert_kind.silence": "Silence",
    "alert_kind.battery": "Batterie",
    "alert_kind.loss": "Perte",
    "mark.simulated": "simulé",
    "mark.estimated": "heure estimée",
    # États
    "state.loading": "Lecture de la base de données…",
    "state.empty.title": "Pas encore de mesure",
    "state.empty.text": (
        "La base de données est là et ne contient aucune mesure. Dès qu’une carte enverra la première, elle "
        "s’affichera ici d’elle-même."
    ),
    "state.nothing_chosen": "Rien ne correspond à ce qui est choisi.",
    "state.away.title": "La base de données est absente",
    "state.away.text": "Elle ne répond pas. Cette page réessaie d’elle-même, sans rechargement.",
    "state.away.stale": (
        "La base de données ne répond plus depuis {duration}. Ce qui est affiché date de {time}. Nouvel essai en cours."
    ),
    "state.not_vigie.title": "Ce n’est pas une base de données de Vigie",
    "state.not_vigie.text": (
        "Elle répond, mais ce compte n’y voit aucune table de Vigie. Vérifiez VIGIE_POSTGRES, et lancez "
        "`vigie-processor migrate` pour une base neuve."
    ),
    "state.schema.title": "La base de données est d’une version plus ancienne",
    "state.schema.text": "Il manque à ses tables ce que ce tableau de bord affiche. Lancez `vigie-processor migrate`.",
    "state.not_allowed.title": "Ce compte n’a pas le droit de lire les tables",
    "state.not_allowed.text": "Donnez-lui le rôle vigie_reader : `GRANT vigie_reader TO …`.",
    "state.slow.title": "La réponse a pris trop de temps",
    "state.slow.text": "La requête a été arrêtée à sa limite. Choisissez une période plus courte ou moins de capteurs.",
    "state.slow.stale": (
        "La dernière réponse a pris trop de temps et a été arrêtée. Ce qui est affiché date de {time}. "
        "Nouvel essai en cours."
    ),
    "state.settings.title": "Le tableau de bord n’est pas configuré",
    "state.failed.title": "Une erreur s’est produite dans le tableau de bord",
    "state.failed.text": "Le journal en contient les détails.",
    # Maintenant
    "now.title": "Maintenant",
    # Tendance
    "trend.title": "Tendance",
    # Exploitation
    "operation.title": "Exploitation",
}
